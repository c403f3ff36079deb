"""See lmms_eval."""
