import { useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { accountOptionsQuery } from "../../api/account";
import { invitationsQuery, invite, refreshInvitations, revokeInvitation } from "../../api/admin";
import { messageOf } from "../../api/message";
import type { InvitationView, InvitationMade } from "../../api/types";
import { useAttempt } from "../../api/use-attempt";
import { announce } from "../../ui/announcer";
import { Button } from "../../ui/button";
import { ConfirmDialog } from "../../ui/confirm-dialog";
import { Field, Select } from "../../ui/field";
import { mistakesIn, onSubmit, valueOf } from "../../ui/form";
import { formatAgo, formatDay } from "../../ui/format";
import { Badge, Nothing, Row, Rows } from "../../ui/rows";
import { Secret } from "../../ui/secret";
import { Alert, Panel } from "../../ui/section-page";
import { ShowMore } from "../../ui/show-more";
import styles from "./administration.module.css";

const LIVES = [
  ["1", "1 day"],
  ["7", "7 days"],
  ["30", "30 days"],
] as const;

const ABOUT = {
  open: "Anybody can register on this server; with an invitation, too.",
  invite: "On this server, nobody can register without one.",
  closed: "Registration is closed on this server: set it to “invite”, or add the accounts yourself.",
};

const linkOf = ({ code }: InvitationMade): string => `${location.origin}/#invitation=${code}`;

export function InvitationsSection() {
  const { data = [], error, isPending, hasNextPage, isFetching, fetchNextPage } = useInfiniteQuery(invitationsQuery);
  const { data: options } = useQuery(accountOptionsQuery);
  const [made, setMade] = useState<InvitationMade | null>(null);
  const [doomed, setDoomed] = useState<InvitationView | null>(null);
  const { attempt, problem } = useAttempt();
  const client = useQueryClient();
  const revoke = async ({ invitation_id: id }: InvitationView) => {
    await revokeInvitation(id);
    announce("The invitation is revoked.");
    await refreshInvitations(client);
  };
  return (
    <>
      <Panel title="Invite somebody" about={options && ABOUT[options.registration]}>
        <div>
          {made ? (
            <Secret value={linkOf(made)} onClose={() => setMade(null)}>
              Send this link {made.email ? `to ${made.email}` : "to one person"}. It works once, and is not shown again.
            </Secret>
          ) : (
            <InviteForm onMade={setMade} />
          )}
        </div>
      </Panel>
      <Panel title="Invitations">
        <Alert>{problem ?? (error && messageOf(error))}</Alert>
        {!isPending && !error && data.length === 0 ? (
          <Nothing>Nobody is invited.</Nothing>
        ) : (
          <Rows label="Invitations">
            {data.map((item) => (
              <InvitationRow key={item.invitation_id} item={item} onRevoke={() => setDoomed(item)} />
            ))}
          </Rows>
        )}
        <ShowMore hasNextPage={hasNextPage} isFetching={isFetching} fetchNextPage={fetchNextPage} />
      </Panel>
      {doomed && (
        <ConfirmDialog
          title="Revoke this invitation?"
          confirmLabel="Revoke"
          onConfirm={() => attempt(() => revoke(doomed))}
          onClose={() => setDoomed(null)}
        >
          Its link will no longer work.
        </ConfirmDialog>
      )}
    </>
  );
}

function InviteForm({ onMade }: { onMade: (made: InvitationMade) => void }) {
  const client = useQueryClient();
  const { attempt, refuse, problem, fields, busy } = useAttempt();
  const create = async (form: HTMLFormElement) => {
    onMade(await invite(valueOf(form, "email").trim(), Number(valueOf(form, "expires_in_days"))));
    await refreshInvitations(client);
  };
  const send = (form: HTMLFormElement) => {
    const mistakes = mistakesIn(form);
    if (mistakes) refuse(mistakes);
    else attempt(() => create(form), ["email"]);
  };
  return (
    <form {...onSubmit(send)}>
      <div className={styles.inline}>
        <Field
          label="Only for this email (optional)"
          name="email"
          type="email"
          maxLength={254}
          autoComplete="off"
          error={fields.email}
          data-testid="invite-email"
        />
        <Select label="Works for" name="expires_in_days" defaultValue="7" options={LIVES} />
        <Button type="submit" kind="primary" icon="plus" disabled={busy} data-testid="invite">
          Make link
        </Button>
      </div>
      <Alert>{problem}</Alert>
    </form>
  );
}

function InvitationRow({ item, onRevoke }: { item: InvitationView; onRevoke: () => void }) {
  const { email, created_at: made, expires_at: ends, used_at: used } = item;
  const over = used === null && Date.parse(ends) <= new Date().getTime();
  const badge = used ? (
    <Badge>Used</Badge>
  ) : over ? (
    <Badge kind="danger">Expired</Badge>
  ) : (
    <Badge kind="accent">Open</Badge>
  );
  return (
    <Row
      icon="mail"
      title={email ?? "For anybody with the link"}
      badges={badge}
      faded={used !== null || over}
      actions={
        used === null && (
          <Button
            onClick={onRevoke}
            aria-label={`Revoke the invitation ${email ?? ""}`}
            data-testid="revoke-invitation"
          >
            Revoke
          </Button>
        )
      }
      data-testid="invitation-row"
    >
      made {formatAgo(made)} · {used ? `used ${formatAgo(used)}` : `${over ? "ended" : "ends"} ${formatDay(ends)}`}
    </Row>
  );
}
