import { useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";

import {
  cancelDocument,
  deleteDocument,
  documentsQuery,
  forgetDocument,
  rememberDocuments,
  retryDocument,
  type DocumentFilter,
} from "../../api/documents";
import { messageOf } from "../../api/message";
import type { Document } from "../../api/types";
import { useAttempt } from "../../api/use-attempt";
import { announce } from "../../ui/announcer";
import type { DocumentActions } from "./document-row";
import { useProgress } from "./use-intake";
import type { Watch } from "./watch";

/** A list of documents, kept true, and what can be done in it. `ways` are those that lead elsewhere. */
export function useDocuments(
  watch: Watch,
  filter: DocumentFilter | undefined,
  ways: Pick<DocumentActions, "open" | "askOnly">,
) {
  const client = useQueryClient();
  const { data: documents = [], error, ...list } = useInfiniteQuery(documentsQuery(filter));
  const [doomed, setDoomed] = useState<readonly Document[]>([]);
  const { attempt, problem } = useAttempt();
  useProgress(watch, documents);

  const remove = async (all: readonly Document[]) => {
    for (const document of all) {
      await deleteDocument(document.doc_id);
      forgetDocument(client, document.doc_id);
    }
    announce(all.length === 1 ? `${all[0]?.title ?? ""} deleted.` : `${all.length} documents deleted.`);
  };
  const replace = (change: Promise<Document>) => change.then((document) => rememberDocuments(client, [document]));
  const actions = useStable({
    ...ways,
    retry: ({ doc_id: id }) => attempt(() => replace(retryDocument(id))),
    cancel: ({ doc_id: id }) => attempt(() => replace(cancelDocument(id))),
    remove: (document) => setDoomed([document]),
  });
  return {
    ...list,
    documents,
    actions,
    attempt,
    problem: problem ?? (error ? messageOf(error) : null),
    doomed,
    setDoomed,
    removeDoomed: () => attempt(() => remove(doomed)),
  };
}

/** The same functions for good, which do what was given last: so that a row is not drawn anew for them. */
function useStable(actions: DocumentActions): DocumentActions {
  const latest = useRef(actions);
  useEffect(() => void (latest.current = actions));
  const [stable] = useState((): DocumentActions => {
    return {
      open: (document) => latest.current.open(document),
      askOnly: (document) => latest.current.askOnly(document),
      retry: (document) => latest.current.retry(document),
      cancel: (document) => latest.current.cancel(document),
      remove: (document) => latest.current.remove(document),
    };
  });
  return stable;
}
