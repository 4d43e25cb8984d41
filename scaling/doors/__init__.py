"""What comes in and goes out: files, JSON and its schemas, limits, secrets, spreadsheets, terminal.

Every check of what we did not write ourselves stands here, in front of all the rooms above.

files        written to a temporary name, then renamed
outputs      where a command's result goes: a file, a pipe, a device
reading      JSON read back: whole, of the right shape, or one line that says what is wrong
schemas      what is asked of files that more than one room reads
limits       sizes that no machine has, refused before anything is allocated
redact       secrets, on their way into anything that is written
spreadsheet  cells that a spreadsheet would run, made harmless
terminal     text of others, made fit for a terminal
"""
