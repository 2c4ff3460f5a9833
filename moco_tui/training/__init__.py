"""Where runs are trained from the app: thread, detached process, signals, lost runs."""
