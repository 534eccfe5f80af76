import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { createKey, keysQuery, revokeKey } from "../../api/account";
import { messageOf } from "../../api/message";
import type { KeyView, KeyMade, Scope } from "../../api/types";
import { useAttempt } from "../../api/use-attempt";
import { announce } from "../../ui/announcer";
import { Button } from "../../ui/button";
import { ConfirmDialog } from "../../ui/confirm-dialog";
import { Checkbox, Field, Select } from "../../ui/field";
import { mistakesIn, onSubmit, valueOf } from "../../ui/form";
import { formatAgo, formatDay } from "../../ui/format";
import { Badge, Nothing, Row, Rows } from "../../ui/rows";
import { Secret } from "../../ui/secret";
import { Alert, FormGrid, Panel } from "../../ui/section-page";
import styles from "./settings.module.css";

const SCOPES: readonly (readonly [Scope, string, string])[] = [
  ["read", "Read", "documents, conversations, answers, and search in them"],
  ["ask", "Ask", "ask questions, and stop or rate answers"],
  ["documents", "Change documents", "upload, change and delete them"],
];

const LIVES = [
  ["30", "30 days"],
  ["90", "90 days"],
  ["365", "A year"],
  ["", "No end"],
] as const;

export function KeysSection() {
  const { data: keys = [], error, isPending } = useQuery(keysQuery);
  const [made, setMade] = useState<KeyMade | null>(null);
  const [doomed, setDoomed] = useState<KeyView | null>(null);
  const client = useQueryClient();
  const { attempt, problem } = useAttempt();
  const revoke = async (key: KeyView) => {
    await revokeKey(key.key_id);
    announce(`The key ${key.name} is revoked.`);
    await client.invalidateQueries({ queryKey: keysQuery.queryKey });
  };
  return (
    <>
      <Panel
        title="New key"
        about="With a key, a program of yours works as you, within what you allow it. It can never change your account."
      >
        {made ? (
          <div>
            <Secret value={made.key} onClose={() => setMade(null)}>
              This is the key “{made.name}”. Copy it now: it is not shown again.
            </Secret>
          </div>
        ) : (
          <KeyForm onMade={setMade} />
        )}
      </Panel>
      <Panel title="Your keys">
        <Alert>{problem ?? (error && messageOf(error))}</Alert>
        {!isPending && !error && keys.length === 0 ? (
          <Nothing>You have no keys.</Nothing>
        ) : (
          <Rows label="Keys">
            {keys.map((key) => (
              <KeyRow key={key.key_id} item={key} onRevoke={() => setDoomed(key)} />
            ))}
          </Rows>
        )}
      </Panel>
      {doomed && (
        <ConfirmDialog
          title="Revoke this key?"
          confirmLabel="Revoke"
          onConfirm={() => attempt(() => revoke(doomed))}
          onClose={() => setDoomed(null)}
        >
          Programs that use “{doomed.name}” are refused from now on.
        </ConfirmDialog>
      )}
    </>
  );
}

function KeyForm({ onMade }: { onMade: (key: KeyMade) => void }) {
  const client = useQueryClient();
  const { attempt, refuse, problem, fields, busy } = useAttempt();
  const create = async (form: HTMLFormElement, scopes: Scope[]) => {
    const days = valueOf(form, "expires_in_days");
    onMade(await createKey(valueOf(form, "name").trim(), scopes, days ? Number(days) : null));
    await client.invalidateQueries({ queryKey: keysQuery.queryKey });
  };
  const send = (form: HTMLFormElement) => {
    const scopes = new FormData(form).getAll("scopes") as Scope[];
    const mistakes = mistakesIn(form, { scopes: scopes.length === 0 && "Please allow it something." });
    if (mistakes) refuse(mistakes);
    else attempt(() => create(form, scopes), ["name", "scopes"]);
  };
  return (
    <form {...onSubmit(send)}>
      <FormGrid>
        <Field
          label="Name"
          name="name"
          required
          maxLength={100}
          autoComplete="off"
          placeholder="What will use it"
          error={fields.name}
          data-testid="key-name"
        />
        <fieldset className={styles.scopes}>
          <legend>It may</legend>
          {SCOPES.map(([scope, label, hint]) => (
            <Checkbox
              key={scope}
              name="scopes"
              value={scope}
              label={label}
              hint={hint}
              defaultChecked={scope !== "documents"}
              data-testid={`key-scope-${scope}`}
            />
          ))}
          {fields.scopes && <p role="alert">{fields.scopes}</p>}
        </fieldset>
        <Select label="It ends after" name="expires_in_days" defaultValue="90" options={LIVES} />
        <Button type="submit" kind="primary" icon="plus" disabled={busy} data-testid="create-key">
          Create key
        </Button>
      </FormGrid>
      <Alert>{problem}</Alert>
    </form>
  );
}

function KeyRow({ item, onRevoke }: { item: KeyView; onRevoke: () => void }) {
  const { name, prefix, scopes, created_at: made, last_used_at: used, expires_at: ends } = item;
  const over = ends !== null && Date.parse(ends) <= new Date().getTime();
  const may = SCOPES.filter(([scope]) => scopes.includes(scope)).map(([, label]) => label.toLowerCase());
  return (
    <Row
      icon="key"
      title={name}
      faded={over}
      badges={over && <Badge kind="danger">Expired</Badge>}
      actions={
        <Button onClick={onRevoke} aria-label={`Revoke ${name}`} data-testid="revoke-key">
          Revoke
        </Button>
      }
      data-testid="key-row"
    >
      <p>
        <code>{prefix}…</code> · may {may.join(", ")}
      </p>
      <p>
        {used ? `used ${formatAgo(used)}` : "never used"} · made {formatDay(made)} ·{" "}
        {ends ? `${over ? "ended" : "ends"} ${formatDay(ends)}` : "does not end"}
      </p>
    </Row>
  );
}
