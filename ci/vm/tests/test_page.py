"""What docs/debian.md is taken for."""

import unittest

from cimvm.lab import ROOT
from cimvm.page import Block, PageError, blocks, filled

PAGE = """# Title
## 1. Do
First `this`:

```sh
one
two
```

`/etc/a`, which is a file:

```toml
x = 1
```
More.

```
plain
```
"""


class Blocks(unittest.TestCase):
    def test_a_block_has_its_step_its_language_and_its_file(self) -> None:
        self.assertEqual(
            blocks(PAGE),
            [
                Block("1. Do", "sh", "one\ntwo\n", None),
                Block("1. Do", "toml", "x = 1\n", "/etc/a"),
                Block("1. Do", "", "plain\n", None),
            ],
        )

    def test_a_block_without_an_end_is_an_error(self) -> None:
        with self.assertRaises(PageError):
            blocks("## Do\n```sh\none\n")

    def test_words_are_replaced_and_parts_of_words_are_not(self) -> None:
        words = {"ADMIN": "root", "ADMIN_PASSWORD": "x", "SECRET": "y"}
        self.assertEqual(filled("ADMIN ADMIN_PASSWORD AWS_SECRET_KEY=SECRET", words), "root x AWS_SECRET_KEY=y")

    def test_the_page_has_steps_of_known_kinds(self) -> None:
        found = blocks((ROOT / "docs/debian.md").read_text())
        self.assertEqual({block.language for block in found}, {"sh", "json", "toml", "ini", ""})
        self.assertEqual([block.path for block in found if block.path is not None], [
            "/etc/cim/storage-manager.toml",
            "/etc/systemd/system/cim-storage-manager.service",
        ])


if __name__ == "__main__":
    unittest.main()
