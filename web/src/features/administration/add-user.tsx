import { useQueryClient } from "@tanstack/react-query";

import { addUser, refreshUsers } from "../../api/admin";
import { useAttempt } from "../../api/use-attempt";
import { Button } from "../../ui/button";
import { Checkbox, Field } from "../../ui/field";
import { mistakesIn, onSubmit, valueOf } from "../../ui/form";
import { Alert } from "../../ui/section-page";
import styles from "./administration.module.css";

/** A password that was made up for an account. */
export interface Added {
  email: string;
  password: string;
}

export function AddUser({ onAdded }: { onAdded: (added: Added) => void }) {
  const client = useQueryClient();
  const { attempt, refuse, problem, fields, busy } = useAttempt();
  const add = async (form: HTMLFormElement) => {
    const { user, password } = await addUser(valueOf(form, "email").trim(), valueOf(form, "is_admin") !== "");
    if (password !== null) onAdded({ email: user.email, password });
    await refreshUsers(client);
  };
  const send = (form: HTMLFormElement) => {
    const mistakes = mistakesIn(form);
    if (mistakes) refuse(mistakes);
    else attempt(() => add(form), ["email"]);
  };
  return (
    <form {...onSubmit(send)}>
      <div className={styles.inline}>
        <Field
          label="Email"
          name="email"
          type="email"
          required
          maxLength={254}
          autoComplete="off"
          error={fields.email}
          data-testid="add-user-email"
        />
        <div className={styles.beside}>
          <Checkbox name="is_admin" value="yes" label="Administrator" data-testid="add-user-admin" />
        </div>
        <Button type="submit" kind="primary" icon="plus" disabled={busy} data-testid="add-user">
          Add account
        </Button>
      </div>
      <Alert>{problem}</Alert>
    </form>
  );
}
