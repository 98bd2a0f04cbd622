"""Tests of the local DynamoDB engines and of Baton on them: races, linearizability and capacity."""
