"""The scheduling domain, pure: no clock, no store, no HTTP. `now` is always a parameter."""
