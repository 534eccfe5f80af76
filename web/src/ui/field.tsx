import { useId, useState, type ComponentProps, type ReactNode } from "react";

import { IconButton } from "./button";
import styles from "./field.module.css";

interface FieldProps extends Omit<ComponentProps<"input">, "children"> {
  label: string;
  /** What to know before writing; it gives way to nothing. */
  hint?: ReactNode;
  /** What is wrong with what was written. */
  error?: string | null | undefined;
}

/** A labelled input with its hint and its error beside it. */
export function Field({ label, hint, error, ...input }: FieldProps) {
  return <Framed {...{ label, hint, error }}>{(named) => <input {...input} {...named} />}</Framed>;
}

/** A password that can be looked at; paste and password managers work as in any input. */
export function PasswordField({ label, hint, error, ...input }: FieldProps) {
  const [shown, setShown] = useState(false);
  return (
    <Framed {...{ label, hint, error }}>
      {(named) => (
        <span className={styles.password}>
          <input
            autoCapitalize="none"
            autoCorrect="off"
            spellCheck={false}
            {...input}
            {...named}
            type={shown ? "text" : "password"}
          />
          <IconButton
            icon={shown ? "eye-off" : "eye"}
            label={shown ? "Hide the password" : "Show the password"}
            aria-pressed={shown}
            onClick={() => setShown(!shown)}
          />
        </span>
      )}
    </Framed>
  );
}

interface SelectProps extends ComponentProps<"select"> {
  label: string;
  /** Value and words. */
  options: readonly (readonly [string, string])[];
}

export function Select({ label, options, ...select }: SelectProps) {
  return (
    <Framed label={label}>
      {(named) => (
        <select {...select} {...named}>
          {options.map(([value, words]) => (
            <option key={value} value={value}>
              {words}
            </option>
          ))}
        </select>
      )}
    </Framed>
  );
}

export function Checkbox({ label, hint, ...input }: ComponentProps<"input"> & { label: string; hint?: string }) {
  return (
    <label className={styles.checkbox}>
      <input type="checkbox" {...input} />
      <span>
        {label}
        {hint && <small>{hint}</small>}
      </span>
    </label>
  );
}

interface Named {
  id: string;
  "aria-describedby": string | undefined;
  "aria-invalid": true | undefined;
}

function Framed(props: Pick<FieldProps, "label" | "hint" | "error"> & { children: (named: Named) => ReactNode }) {
  const { label, hint, error, children } = props;
  const id = useId();
  const described = [hint ? `${id}-hint` : "", error ? `${id}-error` : ""].filter(Boolean).join(" ");
  return (
    <div className={styles.field}>
      <label htmlFor={id}>{label}</label>
      {children({ id, "aria-describedby": described || undefined, "aria-invalid": error ? true : undefined })}
      {hint && (
        <p id={`${id}-hint`} className={styles.hint}>
          {hint}
        </p>
      )}
      {error && (
        <p id={`${id}-error`} className={styles.error}>
          {error}
        </p>
      )}
    </div>
  );
}
