"""Pictures by the million, on one machine or many: `python -m antbee.batch SOURCE OUT`."""
