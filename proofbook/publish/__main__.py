"""``python -m proofbook.publish`` is ``python -m proofbook``."""

from proofbook.__main__ import end, main

if __name__ == "__main__":
    end(main())
