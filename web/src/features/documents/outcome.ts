import type { Batch } from "../../api/types";
import { plural } from "../../ui/format";

/** What became of a batch, in words: "12 documents ready, 1 not readable". `refused` more files became no document. */
export const outcome = ({ ready, failed, cancelled }: Batch, refused: number): string =>
  [
    `${plural(ready, "document")} ready`,
    failed + refused > 0 ? `${failed + refused} not readable` : "",
    cancelled > 0 ? `${cancelled} cancelled` : "",
  ]
    .filter(Boolean)
    .join(", ");
