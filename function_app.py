"""Every trigger, in the order in which a message meets them; nothing else.

A trigger translates: message in, one stage called, next messages out. Where settings are missing, loading this
file fails with all the faults in one message: then no function is indexed, and no message is touched.
"""

import json
import logging
import typing

import azure.functions as func

from shared import settings
from shared.composition import Composition
from shared.messages import Queue, parse_email, parse_lock, parse_notification, parse_update, to_json

warden = Composition(settings.load())
logging.getLogger("azure").setLevel(logging.WARNING)

app = func.FunctionApp()

STORAGE = "DatahubStorageConnectionString"
# The worker takes typing.List here and refuses list: the app would have no functions at all.
Messages = func.Out[typing.List[str]]


@app.function_name("ProjectUsageScheduler")
@app.timer_trigger(arg_name="timer", schedule="%ProjectUsageCRON%")
@app.retry(
    strategy="exponential_backoff", max_retry_count="10", minimum_interval="00:00:30", maximum_interval="00:15:00"
)
def project_usage_scheduler(timer: func.TimerRequest) -> None:
    """Opens the night's run and sends one update message per subscription."""
    warden.scheduler.tonight()


@app.function_name("ProjectUsageUpdater")
@app.queue_trigger(arg_name="msg", queue_name="%QueueProjectUsageUpdate%", connection=STORAGE)
@app.queue_output(arg_name="notifications", queue_name="%QueueProjectUsageNotification%", connection=STORAGE)
@app.queue_output(arg_name="emails", queue_name="%QueueEmailNotification%", connection=STORAGE)
def project_usage_updater(msg: func.QueueMessage, notifications: Messages, emails: Messages) -> None:
    """Reads costs, stores them, asks for the check."""
    body, origin = _body(msg), str(msg.id)
    handed_on = warden.dead_letters.unless_wrong(
        Queue.UPDATE, body, origin, lambda: warden.updater.update(parse_update(body), origin)
    )
    notifications.set([to_json(message) for message in handed_on.notifications])
    emails.set([to_json(message) for message in handed_on.emails])


@app.function_name("ProjectUsageNotifier")
@app.queue_trigger(arg_name="msg", queue_name="%QueueProjectUsageNotification%", connection=STORAGE)
@app.queue_output(arg_name="notifications", queue_name="%QueueProjectUsageNotification%", connection=STORAGE)
@app.queue_output(arg_name="emails", queue_name="%QueueEmailNotification%", connection=STORAGE)
@app.queue_output(arg_name="locks", queue_name="%QueueProjectLock%", connection=STORAGE)
def project_usage_notifier(msg: func.QueueMessage, notifications: Messages, emails: Messages, locks: Messages) -> None:
    """Compares usage with the budget, makes the alerts, and asks for locks."""
    body, origin = _body(msg), str(msg.id)
    handed_on = warden.dead_letters.unless_wrong(
        Queue.NOTIFICATION, body, origin, lambda: warden.notifier.notify(parse_notification(body), origin)
    )
    notifications.set([to_json(message) for message in handed_on.notifications])
    emails.set([to_json(message) for message in handed_on.emails])
    locks.set([to_json(message) for message in handed_on.locks])


@app.function_name("EmailNotificationHandler")
@app.queue_trigger(arg_name="msg", queue_name="%QueueEmailNotification%", connection=STORAGE)
@app.queue_output(arg_name="emails", queue_name="%QueueEmailNotification%", connection=STORAGE)
def email_notification_handler(msg: func.QueueMessage, emails: Messages) -> None:
    """Sends the mail."""
    body, origin = _body(msg), str(msg.id)
    handed_on = warden.dead_letters.unless_wrong(
        Queue.EMAIL, body, origin, lambda: warden.deliverer.deliver(parse_email(body), origin)
    )
    emails.set([to_json(message) for message in handed_on.emails])


@app.function_name("BudgetAlert")
@app.route(route="budget-alert", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
def budget_alert(req: func.HttpRequest) -> func.HttpResponse:
    """Takes Azure's own budget alert, asks for a lock."""
    answer = warden.budget_alerts.receive(req.get_body(), req.headers.get("Authorization"))
    body = json.dumps({"status": answer.status, "reason": answer.said}, ensure_ascii=False)
    return func.HttpResponse(body, status_code=answer.status, mimetype="application/json")


@app.function_name("ProjectLockHandler")
@app.queue_trigger(arg_name="msg", queue_name="%QueueProjectLock%", connection=STORAGE)
@app.queue_output(arg_name="emails", queue_name="%QueueEmailNotification%", connection=STORAGE)
def project_lock_handler(msg: func.QueueMessage, emails: Messages) -> None:
    """Looks again, then locks or unlocks the project."""
    body, origin = _body(msg), str(msg.id)
    handed_on = warden.dead_letters.unless_wrong(
        Queue.LOCK, body, origin, lambda: warden.locker.handle(parse_lock(body), origin)
    )
    emails.set([to_json(message) for message in handed_on.emails])


@app.function_name("PipelineWatchdog")
@app.timer_trigger(arg_name="timer", schedule="%WatchdogCRON%")
@app.queue_output(arg_name="updates", queue_name="%QueueProjectUsageUpdate%", connection=STORAGE)
@app.queue_output(arg_name="notifications", queue_name="%QueueProjectUsageNotification%", connection=STORAGE)
@app.queue_output(arg_name="emails", queue_name="%QueueEmailNotification%", connection=STORAGE)
def pipeline_watchdog(timer: func.TimerRequest, updates: Messages, notifications: Messages, emails: Messages) -> None:
    """Picks up what got stuck, reports a night that did not finish."""
    handed_on = warden.watchdog.look()
    updates.set([to_json(message) for message in handed_on.updates])
    notifications.set([to_json(message) for message in handed_on.notifications])
    emails.set([to_json(message) for message in handed_on.emails])


@app.function_name("DeadLettersProjectUsageUpdate")
@app.queue_trigger(arg_name="msg", queue_name="%QueueProjectUsageUpdate%-poison", connection=STORAGE)
@app.queue_output(arg_name="emails", queue_name="%QueueEmailNotification%", connection=STORAGE)
def dead_letters_project_usage_update(msg: func.QueueMessage, emails: Messages) -> None:
    """Records update messages that failed for good."""
    handed_on = warden.dead_letters.bury(Queue.UPDATE, _body(msg), str(msg.id))
    emails.set([to_json(message) for message in handed_on.emails])


@app.function_name("DeadLettersProjectUsageNotification")
@app.queue_trigger(arg_name="msg", queue_name="%QueueProjectUsageNotification%-poison", connection=STORAGE)
@app.queue_output(arg_name="emails", queue_name="%QueueEmailNotification%", connection=STORAGE)
def dead_letters_project_usage_notification(msg: func.QueueMessage, emails: Messages) -> None:
    """Records notification messages that failed for good."""
    handed_on = warden.dead_letters.bury(Queue.NOTIFICATION, _body(msg), str(msg.id))
    emails.set([to_json(message) for message in handed_on.emails])


@app.function_name("DeadLettersEmailNotification")
@app.queue_trigger(arg_name="msg", queue_name="%QueueEmailNotification%-poison", connection=STORAGE)
@app.queue_output(arg_name="emails", queue_name="%QueueEmailNotification%", connection=STORAGE)
def dead_letters_email_notification(msg: func.QueueMessage, emails: Messages) -> None:
    """Records e-mail messages that failed for good."""
    handed_on = warden.dead_letters.bury(Queue.EMAIL, _body(msg), str(msg.id))
    emails.set([to_json(message) for message in handed_on.emails])


@app.function_name("DeadLettersProjectLock")
@app.queue_trigger(arg_name="msg", queue_name="%QueueProjectLock%-poison", connection=STORAGE)
@app.queue_output(arg_name="emails", queue_name="%QueueEmailNotification%", connection=STORAGE)
def dead_letters_project_lock(msg: func.QueueMessage, emails: Messages) -> None:
    """Records lock messages that failed for good."""
    handed_on = warden.dead_letters.bury(Queue.LOCK, _body(msg), str(msg.id))
    emails.set([to_json(message) for message in handed_on.emails])


def _body(msg: func.QueueMessage) -> str:
    """The message's text; bytes that are no UTF-8 stay visible as such, and are refused by the parser."""
    return msg.get_body().decode("utf-8", "backslashreplace")
