"""The command line: parse, call, print. It decides nothing that the rooms below could decide."""
