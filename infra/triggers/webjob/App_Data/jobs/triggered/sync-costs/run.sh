#!/bin/bash
# A WebJob beside the app in an App Service: begins a run and waits for its end. It fails where the run does.
set -euo pipefail
# What App Service has built of the app and requirements.txt lies where APP_PATH says, not in wwwroot.
cd "${WARDEN_FOLDER:-${APP_PATH:-$HOME/site/wwwroot}}"
if [ -f antenv/bin/activate ]; then source antenv/bin/activate; fi
exec python -m shared.cli run --wait
