import { lazy, Suspense, useSyncExternalStore } from "react";

import { IconButton } from "../../ui/button";
import styles from "./intake-list.module.css";
import { UploadRow } from "./upload-row";
import type { Intake } from "./use-intake";

// Fetched at once, so that it is there when the server is not; the page does not wait for it.
const batchCard = import("./batch-card");
const BatchCard = lazy(() => batchCard.then((module) => ({ default: module.BatchCard })));

interface Props {
  intake: Intake;
  onShowLimits: () => void;
}

/** All that is on its way: batches, single files, and what of the last choice was not sent. */
export function IntakeList({ intake, onShowLimits }: Props) {
  const { uploads, watch } = intake;
  const { uploads: single, shipments, leftOut } = useSyncExternalStore(uploads.subscribe, uploads.getState);
  const { batches, silent } = useSyncExternalStore(watch.subscribe, watch.getState);
  const shipmentOf = (batchId: string) => shipments.find((one) => one.batchId === batchId) ?? null;
  const card = { intake, onShowLimits };
  const unborn = shipments.filter(({ batchId }) => !batches.some(({ batch }) => batch.batch_id === batchId));
  if (single.length + shipments.length + batches.length + leftOut.length === 0 && !silent) return null;
  return (
    <div className={styles.intake}>
      {leftOut.length > 0 && (
        <div className={styles.left} role="status" data-testid="left-out">
          <p>{leftOut.join(" ")}</p>
          <IconButton icon="close" label="Dismiss this note" onClick={uploads.forgetLeftOut} />
        </div>
      )}
      {silent && (
        <p className={styles.silent} role="status">
          The server cannot be heard at the moment; trying again…
        </p>
      )}
      <Suspense fallback={null}>
        {unborn.map((shipment) => (
          <BatchCard key={shipment.key} watched={null} shipment={shipment} {...card} />
        ))}
        {batches.toReversed().map((watched) => (
          <BatchCard
            key={watched.batch.batch_id}
            watched={watched}
            shipment={shipmentOf(watched.batch.batch_id)}
            {...card}
          />
        ))}
      </Suspense>
      {single.length > 0 && (
        <ul>
          {single.map((upload) => (
            <UploadRow
              key={upload.key}
              upload={upload}
              onRetry={uploads.retry}
              onRemove={uploads.remove}
              onShowLimits={onShowLimits}
            />
          ))}
        </ul>
      )}
    </div>
  );
}
