import { useQueryClient } from "@tanstack/react-query";

import { changeUser, refreshUsers } from "../../api/admin";
import { LIMIT_LABELS } from "../../api/limit-names";
import type { UserView } from "../../api/types";
import { useAttempt } from "../../api/use-attempt";
import { announce } from "../../ui/announcer";
import { Button } from "../../ui/button";
import { Dialog, DialogButtons } from "../../ui/dialog";
import { Field } from "../../ui/field";
import { mistakesIn, onSubmit, valueOf } from "../../ui/form";
import styles from "./administration.module.css";

const BYTES_PER_MB = 1_000_000;
const unitOf = (name: string): number => (name === "stored_bytes" ? BYTES_PER_MB : 1);

/** The limits that hold for one user alone. */
export function LimitsDialog({ user, onClose }: { user: UserView; onClose: () => void }) {
  const client = useQueryClient();
  const { attempt, refuse, problem, fields, busy } = useAttempt();
  const save = async (form: HTMLFormElement) => {
    const given = Object.keys(LIMIT_LABELS).filter((name) => valueOf(form, name) !== "");
    const limits = given.map((name) => [name, Math.round(Number(valueOf(form, name)) * unitOf(name))] as const);
    await changeUser(user.user_id, { limits: Object.fromEntries(limits) });
    announce(`The limits of ${user.email} are changed.`);
    onClose();
    await refreshUsers(client);
  };
  return (
    <Dialog title="Limits of one account" onClose={onClose}>
      <p>What is left empty is for {user.email} as for everybody; 0 is no limit.</p>
      <form
        {...onSubmit((form) => {
          const mistakes = mistakesIn(form);
          if (mistakes) refuse(mistakes);
          else attempt(() => save(form));
        })}
      >
        <div className={styles.limits}>
          {Object.entries(LIMIT_LABELS).map(([name, label]) => (
            <Field
              key={name}
              name={name}
              label={unitOf(name) > 1 ? `${label}, in MB` : label}
              type="number"
              inputMode="numeric"
              min={0}
              step={1}
              defaultValue={user.limits?.[name] === undefined ? "" : user.limits[name] / unitOf(name)}
              error={fields[name]}
              data-testid={`limit-${name}`}
            />
          ))}
        </div>
        <p role="alert">{problem}</p>
        <DialogButtons>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" kind="primary" disabled={busy} data-testid="save-limits">
            Save
          </Button>
        </DialogButtons>
      </form>
    </Dialog>
  );
}
