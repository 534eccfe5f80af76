import { IconButton } from "../../ui/button";
import { formatBytes } from "../../ui/format";
import { Icon } from "../../ui/icon";
import { ProgressBar } from "../../ui/progress-bar";
import { RetryNote } from "../../ui/retry-note";
import styles from "./row.module.css";
import type { Upload } from "./upload-queue";

interface Props {
  upload: Upload;
  onRetry: (key: number) => void;
  onRemove: (key: number) => void;
  onShowLimits: () => void;
}

export function UploadRow({ upload, onRetry, onRemove, onShowLimits }: Props) {
  const { key, file, state } = upload;
  const rejected = state === "rejected";
  return (
    <li className={styles.row} data-testid="upload-row" data-status={state}>
      <Icon name={rejected ? "warning" : "file"} />
      <div className={styles.body}>
        <span className={styles.title} title={file.name}>
          {file.name}
        </span>
        <span className={rejected ? styles.failed : styles.detail}>
          {describe(upload)} <RetryNote at={upload.problem?.retryAt ?? null} />
        </span>
        {upload.problem?.atLimit && (
          <button type="button" className={styles.more} onClick={onShowLimits}>
            See your limits
          </button>
        )}
        {state === "sending" && <ProgressBar value={upload.sent} label={`Uploading ${file.name}`} />}
      </div>
      <div className={styles.actions}>
        {rejected && <IconButton icon="retry" label={`Upload ${file.name} again`} onClick={() => onRetry(key)} />}
        <IconButton
          icon="close"
          label={rejected ? `Dismiss ${file.name}` : `Cancel the upload of ${file.name}`}
          onClick={() => onRemove(key)}
        />
      </div>
    </li>
  );
}

function describe({ state, file, sent, problem }: Upload): string {
  if (state === "rejected") return problem?.message ?? "";
  if (state === "waiting") return `Waiting to upload · ${formatBytes(file.size)}`;
  return sent < 1 ? `Uploading… ${Math.round(sent * 100)} % of ${formatBytes(file.size)}` : "Received, reading…";
}
