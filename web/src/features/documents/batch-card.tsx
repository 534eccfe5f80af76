import { useInfiniteQuery } from "@tanstack/react-query";
import { useId, useState } from "react";

import { cancelBatch, isAtWork } from "../../api/batches";
import { ALL_DOCUMENTS, documentsQuery } from "../../api/documents";
import type { Batch } from "../../api/types";
import { useAttempt } from "../../api/use-attempt";
import { Button, IconButton } from "../../ui/button";
import { plural } from "../../ui/format";
import { Icon } from "../../ui/icon";
import { ProgressBar } from "../../ui/progress-bar";
import { RetryNote } from "../../ui/retry-note";
import { useSecondsSince } from "../../ui/use-seconds-since";
import styles from "./batch-card.module.css";
import { describeBatch, describeStage, shareOf } from "./describe";
import type { Shipment } from "./shipment";
import type { Intake } from "./use-intake";
import { outcome } from "./outcome";
import type { Watched } from "./watch";

/** After so many seconds without any news the card says how long it has been. */
const QUIET_AFTER_S = 15;
const SHOWN_AT_WORK = 3;
const SHOWN_FAILURES = 200;

interface Props {
  watched: Watched | null;
  shipment: Shipment | null;
  intake: Intake;
  onShowLimits: () => void;
}

/** Files that came together: how far they are, what is at work, what failed and why, and the way to stop it. */
export function BatchCard({ watched, shipment, intake: { uploads, watch }, onShowLimits }: Props) {
  const id = useId();
  const batch = watched?.batch ?? null;
  const sending = shipment?.state === "sending";
  const open = sending || (batch !== null && isAtWork(batch));
  const { attempt, problem, busy } = useAttempt();
  const quiet = useSecondsSince(open && !sending ? (watched?.changedAt ?? null) : null);
  const name = shipment?.name ?? batch?.name ?? "";
  const cancel = async ({ batch_id: batchId }: Batch) => {
    uploads.halt(batchId);
    watch.seeBatches([await cancelBatch(batchId)]);
  };
  const dismiss = () => {
    if (shipment) uploads.dismiss(shipment.key);
    if (batch) watch.dismiss(batch.batch_id);
  };
  const stop = () => (batch ? attempt(() => cancel(batch)) : dismiss());
  const share = shareOf(batch, shipment);
  return (
    <section
      className={styles.card}
      aria-labelledby={id}
      data-testid="batch"
      data-status={open ? "open" : (batch?.status ?? shipment?.state)}
    >
      <div className={styles.head}>
        <Icon name="folder" />
        <h3 id={id} title={name}>
          {name}
        </h3>
        {open ? (
          <Button onClick={stop} disabled={busy} data-testid="cancel-batch">
            Cancel
          </Button>
        ) : (
          <IconButton icon="close" label={`Dismiss ${name}`} onClick={dismiss} data-testid="dismiss-batch" />
        )}
      </div>
      {open && share !== null && <ProgressBar value={share} label={`Progress of ${name}`} />}
      <p className={styles.line} data-testid="batch-line">
        {open || !batch
          ? describeBatch(batch, shipment).join(" · ")
          : finished(batch, refusedOf(batch, shipment).length)}
      </p>
      {open &&
        watched?.atWork.slice(0, SHOWN_AT_WORK).map((document) => (
          <p key={document.doc_id} className={styles.work}>
            <span>{document.filename}</span> {describeStage(document)}
          </p>
        ))}
      {open && quiet >= QUIET_AFTER_S && <p className={styles.quiet}>No news for {quiet} s; the work has not ended.</p>}
      <div role="alert" className={styles.problem}>
        {(problem ?? shipment?.problem) && (
          <p>
            {problem ?? shipment?.problem?.message} <RetryNote at={shipment?.problem?.retryAt ?? null} />
          </p>
        )}
      </div>
      {shipment && (
        <div className={styles.ways}>
          {shipment.problem?.atLimit && <Button onClick={onShowLimits}>See your limits</Button>}
          {!sending && shipment.unsent.length > 0 && (
            <Button icon="retry" onClick={() => uploads.resend(shipment.key)}>
              Send {plural(shipment.unsent.length, "file")} again
            </Button>
          )}
        </div>
      )}
      <Failures batch={batch} shipment={shipment} />
    </section>
  );
}

const finished = (batch: Batch, refused: number): string =>
  `${batch.status === "cancelled" ? "Cancelled: " : ""}${outcome(batch, refused)}.`;

/** What became no document: refused on its way, which this page knows, or out of a ZIP file, which the server knows. */
function refusedOf(batch: Batch | null, shipment: Shipment | null): Shipment["refused"] {
  const byName = new Map([...(shipment?.refused ?? []), ...(batch?.refused ?? [])].map((one) => [one.name, one]));
  return [...byName.values()];
}

/** What became no searchable document, each with its reason. */
function Failures({ batch, shipment }: Pick<Props, "shipment"> & { batch: Batch | null }) {
  const [open, setOpen] = useState(false);
  const refused = refusedOf(batch, shipment);
  const count = refused.length + (batch?.failed ?? 0);
  if (count === 0) return null;
  return (
    <details className={styles.failures} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary data-testid="batch-failures">{plural(count, "file")} could not be read</summary>
      {open && (
        <ul>
          {refused.slice(0, SHOWN_FAILURES).map(({ name, message }) => (
            <Failure key={name} name={name} message={message} />
          ))}
          {batch && batch.failed > 0 && <FailedDocuments batch={batch} />}
        </ul>
      )}
    </details>
  );
}

function FailedDocuments({ batch: { batch_id: batchId } }: { batch: Batch }) {
  const { data = [], hasNextPage } = useInfiniteQuery(documentsQuery({ ...ALL_DOCUMENTS, batchId, status: "failed" }));
  return (
    <>
      {data.map(({ doc_id: id, filename, error }) => (
        <Failure key={id} name={filename} message={error?.message ?? "It could not be read."} />
      ))}
      {hasNextPage && <li>… and more: see the failed ones in your library.</li>}
    </>
  );
}

const Failure = ({ name, message }: { name: string; message: string }) => (
  <li data-testid="batch-failure">
    <strong>{name}</strong> {message}
  </li>
);
