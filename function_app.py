"""Every trigger, in the order in which a message meets them; nothing else.

A trigger hands what it is given to the chain, which has one stage work on it and sends what that stage wants sent.
Where settings are missing, or the database's driver can't be loaded, loading this file fails with what is missing in
one message: then no function is indexed, and no message is touched.
"""

import json
import logging
from collections.abc import Awaitable, Callable
from functools import cache

import azure.functions as func

from shared import settings
from shared.composition import Composition
from shared.messages import Queue, origin_of

warden = Composition(settings.load())
warden.database.load_driver()
logging.getLogger("azure").setLevel(logging.WARNING)
warden.tell()

app = func.FunctionApp()

STORAGE = "DatahubStorageConnectionString"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


@app.function_name("ProjectUsageScheduler")
@app.timer_trigger(arg_name="timer", schedule="%ProjectUsageCRON%")
@app.retry(
    strategy="exponential_backoff", max_retry_count="10", minimum_interval="00:00:30", maximum_interval="00:15:00"
)
def project_usage_scheduler(timer: func.TimerRequest, context: func.Context) -> None:
    """Opens the night's run and sends one update message per subscription."""
    warden.chain.begin(warden.scheduler.tonight(), _call(context))


@app.function_name("ProjectUsageUpdater")
@app.queue_trigger(arg_name="msg", queue_name="%QueueProjectUsageUpdate%", connection=STORAGE)
def project_usage_updater(msg: func.QueueMessage, context: func.Context) -> None:
    """Reads costs, stores them, asks for the check."""
    warden.chain.take(Queue.UPDATE, _body(msg), _origin(msg), call=_call(context))


@app.function_name("ProjectUsageNotifier")
@app.queue_trigger(arg_name="msg", queue_name="%QueueProjectUsageNotification%", connection=STORAGE)
def project_usage_notifier(msg: func.QueueMessage, context: func.Context) -> None:
    """Compares usage with the budget, makes the alerts, and asks for locks."""
    warden.chain.take(Queue.NOTIFICATION, _body(msg), _origin(msg), msg.dequeue_count or 1, _call(context))


@app.function_name("EmailNotificationHandler")
@app.queue_trigger(arg_name="msg", queue_name="%QueueEmailNotification%", connection=STORAGE)
def email_notification_handler(msg: func.QueueMessage, context: func.Context) -> None:
    """Sends the mail."""
    warden.chain.take(Queue.EMAIL, _body(msg), _origin(msg), call=_call(context))


@app.function_name("BudgetAlert")
@app.route(route="api/budget-alert", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
def budget_alert(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Takes Azure's own budget alert, asks for a lock."""
    received = warden.budget_alerts.receive(req.get_body(), req.headers.get("Authorization"))
    answer = warden.chain.take_alert(received, _call(context))
    body = json.dumps({"status": answer.status, "reason": answer.said}, ensure_ascii=False)
    return func.HttpResponse(body, status_code=answer.status, mimetype="application/json")


@app.function_name("ProjectLockHandler")
@app.queue_trigger(arg_name="msg", queue_name="%QueueProjectLock%", connection=STORAGE)
def project_lock_handler(msg: func.QueueMessage, context: func.Context) -> None:
    """Looks again, then locks or unlocks the project; or brings Azure's own budgets in step."""
    warden.chain.take(Queue.LOCK, _body(msg), _origin(msg), call=_call(context))


@app.function_name("CostExportScanner")
@app.timer_trigger(arg_name="timer", schedule="%CostExportCRON%")
def cost_export_scanner(timer: func.TimerRequest, context: func.Context) -> None:
    """Finds cost exports that are new, and asks for their import."""
    warden.chain.begin(warden.scan_exports(), _call(context))


@app.function_name("CostExportImporter")
@app.queue_trigger(arg_name="msg", queue_name="%QueueCostExportImport%", connection=STORAGE)
def cost_export_importer(msg: func.QueueMessage, context: func.Context) -> None:
    """Imports a run of a cost export, part by part."""
    warden.chain.take(Queue.EXPORT, _body(msg), _origin(msg), call=_call(context))


@app.function_name("PipelineWatchdog")
@app.timer_trigger(arg_name="timer", schedule="%WatchdogCRON%")
def pipeline_watchdog(timer: func.TimerRequest, context: func.Context) -> None:
    """Picks up what got stuck, reports a night that did not finish."""
    # First: what it buries, the round tells of; and the round lets go of the database.
    left = warden.left_over.bury()
    warden.chain.begin(warden.rounds.next(left), _call(context))


@app.function_name("Health")
@app.route(route="api/health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def health(req: func.HttpRequest) -> func.HttpResponse:
    """Says whether the app works, and nothing else."""
    return func.HttpResponse(status_code=200 if warden.health.is_well() else 503)


@app.function_name("Web")
@app.route(route="{*path}", methods=METHODS, auth_level=func.AuthLevel.ANONYMOUS)
async def web(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Answers all other addresses: the HTTP API."""
    return await _pages()(req, context)


# What the host gave up on, by the queue's setting.
POISONED = {
    "ProjectUsageUpdate": Queue.UPDATE,
    "ProjectUsageNotification": Queue.NOTIFICATION,
    "EmailNotification": Queue.EMAIL,
    "ProjectLock": Queue.LOCK,
    "CostExportImport": Queue.EXPORT,
}


def _burial(queue: Queue) -> Callable[[func.QueueMessage, func.Context], None]:
    def dead_letters(msg: func.QueueMessage, context: func.Context) -> None:
        """Records messages that failed for good."""
        warden.chain.bury(queue, _body(msg), _origin(msg), call=_call(context))

    return dead_letters


for _name, _queue in POISONED.items():
    _trigger = app.queue_trigger(arg_name="msg", queue_name=f"%Queue{_name}%-poison", connection=STORAGE)
    app.function_name(f"DeadLetters{_name}")(_trigger(_burial(_queue)))


@cache
def _pages() -> Callable[[func.HttpRequest, func.Context], Awaitable[func.HttpResponse]]:
    """What answers calls of Web, loaded with the first of them: no queue function pays for it."""
    from shared.web.app import made

    return made(warden)


def _call(context: func.Context) -> tuple[str, str | None]:
    """The function's name and the host's trace, which is nobody's current one where a function is not async."""
    return context.function_name, context.trace_context.trace_parent


def _body(msg: func.QueueMessage) -> str:
    """The message's text; bytes that are no UTF-8 stay visible as such, and are refused by the parser."""
    return msg.get_body().decode("utf-8", "backslashreplace")


def _origin(msg: func.QueueMessage) -> str:
    return origin_of(msg.id, msg.insertion_time, _body(msg))
