import { useState, type ComponentProps } from "react";

import { PasswordField } from "./field";
import { passwordHint, passwordLength } from "./password-hint";

interface Props extends Omit<ComponentProps<typeof PasswordField>, "hint"> {
  /** Lengths in characters. */
  least: number;
  advised: number;
}

/** A password to be chosen: what it needs is said before the mistake, and while it is written. */
export function NewPasswordField({ least, advised, ...input }: Props) {
  const [length, setLength] = useState(0);
  return (
    <PasswordField
      autoComplete="new-password"
      required
      {...input}
      hint={passwordHint(length, least, advised)}
      onInput={(event) => setLength(passwordLength(event.currentTarget.value))}
    />
  );
}
