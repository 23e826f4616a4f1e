# Decides whether another target may go on with an answer that broke off.  Types of the compiled module; see rescue.pxd.
