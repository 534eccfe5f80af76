import { Button } from "../../ui/button";
import { Menu, MenuItem } from "../../ui/menu";
import styles from "./add-menu.module.css";
import type { Chooser } from "./file-inputs";

/** The ways to add documents by hand: files, or folders with all below them. Dropping them works anywhere. */
export function AddMenu({ choose }: { choose: Chooser }) {
  return (
    <div className={styles.add}>
      <Button icon="plus" onClick={choose.files} data-testid="add-documents">
        Add documents
      </Button>
      <Menu label="More ways to add documents" data-testid="add-menu">
        <MenuItem icon="file" onClick={choose.files}>
          Files, or a ZIP file
        </MenuItem>
        <MenuItem icon="folder" onClick={choose.folder} data-testid="add-folder">
          A folder
        </MenuItem>
      </Menu>
    </div>
  );
}
