import { html, type Fragment, type Html } from './html.ts'

/** One column: its heading, and what stands in it for each row. */
export type Column<Row> = readonly [heading: string, cell: (row: Row) => Fragment]

/**
 * A table that a narrow screen shows as one card a row. Roles are written out, since `display` takes them away.
 *
 * @param name - of the table, for those who do not see where it stands
 * @param none - what is said when there are no rows
 */
export function table<Row>(
  name: string,
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  none: string,
): Html {
  if (rows.length === 0) return html`<p class="none">${none}</p>`
  return html`<table role="table" aria-label="${name}">
    <thead role="rowgroup">
      <tr role="row">
        ${columns.map(([heading]) => html`<th role="columnheader" scope="col">${heading}</th>`)}
      </tr>
    </thead>
    <tbody role="rowgroup">
      ${rows.map(
        (row) =>
          html`<tr role="row">
            ${columns.map(
              ([heading, cell]) =>
                html`<td role="cell" data-heading="${heading}"><div>${cell(row)}</div></td>`,
            )}
          </tr>`,
      )}
    </tbody>
  </table>`
}

/** Names and values, as of one thing's properties. */
export function facts(pairs: readonly (readonly [name: string, value: Fragment])[]): Html {
  return html`<dl class="facts">
    ${pairs.map(
      ([name, value]) =>
        html`<div>
          <dt>${name}</dt>
          <dd>${value}</dd>
        </div>`,
    )}
  </dl>`
}
