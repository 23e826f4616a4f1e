"""What do answers and failures mean for the choice among targets?  Tables and policy; the mechanism is native."""
