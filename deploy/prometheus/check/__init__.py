"""`make alerts-test`: every alert rule fires when its cause is there, and none on a healthy gateway."""
