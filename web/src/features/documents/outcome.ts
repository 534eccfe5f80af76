import type { Batch } from "../../api/types";
import { plural } from "../../ui/format";

/** What became of a batch, in words: "12 documents ready, 1 not readable". */
export const outcome = ({ ready, failed, cancelled, refused }: Batch): string =>
  [
    `${plural(ready, "document")} ready`,
    failed + refused.length > 0 ? `${failed + refused.length} not readable` : "",
    cancelled > 0 ? `${cancelled} cancelled` : "",
  ]
    .filter(Boolean)
    .join(", ");
