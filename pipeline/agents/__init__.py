"""Faust, kept thin: agents that hand records to pure stages, and the delivery that loses none of them."""
