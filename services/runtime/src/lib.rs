//! What every Roster process needs: telemetry, propagation, shutdown, the admin port.
