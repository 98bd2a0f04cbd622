"""Never deployed: the development server, the demo, the packager, the operator's commands."""
