import sys

from petvr.cli import main

sys.exit(main())
