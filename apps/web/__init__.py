"""The shell around the apps: home, navigation, health, static files of installed packages."""
