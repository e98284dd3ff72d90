import { hidden, submit } from '../fields.ts'
import { html, type Html } from '../html.ts'
import type { PageTools } from '../page.ts'

/** Deletes something after it was asked for twice. @param etag - of what the person has seen */
export function deleteForm({ form }: PageTools, action: string, what: string, etag: string): Html {
  return html`<details class="delete">
    <summary>Delete this ${what}</summary>
    ${form(action, html`${hidden('etag', etag)} ${submit(`Delete ${what}`, 'danger')}`)}
  </details>`
}
