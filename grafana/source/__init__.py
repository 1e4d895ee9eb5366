"""The dashboards as code: one module per dashboard, each with a `DASHBOARD`."""
