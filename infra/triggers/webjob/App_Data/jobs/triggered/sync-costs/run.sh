#!/bin/bash
# A WebJob beside the app in an App Service: begins a run and waits for its end. It fails where the run does.
set -euo pipefail
cd "${WARDEN_FOLDER:-$HOME/site/wwwroot}"
# What App Service has built from requirements.txt lies here.
if [ -f antenv/bin/activate ]; then source antenv/bin/activate; fi
exec python -m shared.cli run --wait
