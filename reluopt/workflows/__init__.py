"""What the commands and estimators call: functions that prepare, read and keep runs, and return records."""
