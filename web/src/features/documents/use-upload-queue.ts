import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";

import { rememberDocument } from "../../api/documents";
import { announce } from "../../ui/announcer";
import { UploadQueue } from "./upload-queue";

/** The queue of this login; what is under way ends with it. */
export function useUploadQueue(): UploadQueue {
  const client = useQueryClient();
  const [queue] = useState(
    () =>
      new UploadQueue(({ document, existed }) => {
        rememberDocument(client, document);
        announce(existed ? `${document.filename} is already in your library.` : `${document.filename} uploaded.`);
      }),
  );
  useEffect(() => () => queue.clear(), [queue]);
  return queue;
}
