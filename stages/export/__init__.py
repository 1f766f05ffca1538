"""Hand a store over: its rows as files of the formats that other programs read, with a card, here or on a hub."""
