"""`make dashboards-test`: every panel's SQL against both stores, on real telemetry."""
