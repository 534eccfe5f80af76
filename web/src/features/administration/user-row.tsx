import type { UserView } from "../../api/types";
import { formatAgo, formatBytes, formatDay, plural } from "../../ui/format";
import { Menu, MenuItem } from "../../ui/menu";
import { Badge, Row } from "../../ui/rows";

/** What can be done with an account. */
export type Doing = "disable" | "enable" | "promote" | "demote" | "limits" | "reset" | "delete";

interface Props {
  user: UserView;
  /** It is the account of whoever looks at it. */
  own: boolean;
  onDo: (doing: Doing) => void;
  onShowEvents: () => void;
}

export function UserRow({ user, own, onDo, onShowEvents }: Props) {
  const { email, is_admin: isAdmin, disabled_at: disabledAt, last_used_at: used, limits } = user;
  const disabled = disabledAt !== null;
  return (
    <Row
      icon={isAdmin ? "shield" : "user"}
      title={email}
      faded={disabled}
      badges={
        <>
          {own && <Badge>You</Badge>}
          {isAdmin && <Badge kind="accent">Administrator</Badge>}
          {disabled && <Badge kind="danger">Disabled</Badge>}
          {limits && Object.keys(limits).length > 0 && <Badge>Own limits</Badge>}
        </>
      }
      actions={
        <Menu label={`More for ${email}`} data-testid="user-menu">
          <MenuItem icon="gauge" onClick={() => onDo("limits")} data-testid="user-limits">
            Limits…
          </MenuItem>
          <MenuItem icon="list" onClick={onShowEvents} data-testid="user-events">
            Show in the audit log
          </MenuItem>
          {!own && (
            <>
              <MenuItem icon="key" onClick={() => onDo("reset")} data-testid="user-reset">
                Reset password…
              </MenuItem>
              <MenuItem icon="shield" onClick={() => onDo(isAdmin ? "demote" : "promote")} data-testid="user-role">
                {isAdmin ? "Make member…" : "Make administrator…"}
              </MenuItem>
              <MenuItem
                icon={disabled ? "check" : "close"}
                onClick={() => onDo(disabled ? "enable" : "disable")}
                data-testid="user-disable"
              >
                {disabled ? "Enable" : "Disable…"}
              </MenuItem>
              <MenuItem icon="trash" onClick={() => onDo("delete")} data-testid="user-delete">
                Delete…
              </MenuItem>
            </>
          )}
        </Menu>
      }
      data-testid="user-row"
    >
      {plural(user.documents, "document")}, {formatBytes(user.stored_bytes)} ·{" "}
      {used ? `here ${formatAgo(used)}` : "never here"} · since {formatDay(user.created_at)}
    </Row>
  );
}
