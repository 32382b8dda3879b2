"""The demo: sample media made on the spot, run through the whole stack, shown as they come out."""
