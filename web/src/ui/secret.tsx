import { useState, type ReactNode } from "react";

import { Button } from "./button";
import { copyText } from "./copy-text";
import styles from "./secret.module.css";

interface Props {
  /** What it is, and that it will not be seen again. */
  children: ReactNode;
  value: string;
  onClose: () => void;
}

/** Something that is shown once, to be copied now. */
export function Secret({ children, value, onClose }: Props) {
  const [result, setResult] = useState<"idle" | "copied" | "failed">("idle");
  const copy = async () => setResult((await copyText(value)) ? "copied" : "failed");
  const label = { idle: "Copy", copied: "Copied", failed: "Please copy it by hand" }[result];
  return (
    <div className={styles.secret} role="status">
      <p>{children}</p>
      <code data-testid="secret">{value}</code>
      <div className={styles.buttons}>
        <Button kind="primary" icon={result === "copied" ? "check" : "copy"} onClick={() => void copy()}>
          {label}
        </Button>
        <Button onClick={onClose} data-testid="secret-done">
          Done
        </Button>
      </div>
    </div>
  );
}
