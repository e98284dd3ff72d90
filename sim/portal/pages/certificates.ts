import { html } from '../html.ts'
import { instant, state, thumbprint } from '../marks.ts'
import type { Pages, PortalParts } from '../pages.ts'
import { table } from '../table.ts'
import { certificateOwners } from './certificate-owners.ts'

/** `/certificates`: the authorities that DPS and the hubs know. */
export function addCertificatePages(pages: Pages, { cloud }: PortalParts): void {
  pages.show('/certificates', () => ({
    title: 'CA certificates',
    section: 'certificates',
    body: ({ live }) =>
      html`${certificateOwners(cloud).map(
        ({ key, name, store }) => html`
          <h2>${name}</h2>
          ${live(
            key,
            table(
              `CA certificates of ${name}`,
              [
                ['Name', (one) => one.name],
                [
                  'Status',
                  ({ isVerified }) =>
                    state(isVerified ? 'verified' : 'unverified', isVerified ? 'good' : 'bad'),
                ],
                ['Subject', ({ subject }) => subject],
                ['Thumbprint', (one) => thumbprint(one.thumbprint)],
                ['Expires', ({ expiry }) => instant(Date.parse(expiry))],
              ],
              store.list(),
              'There is no certificate.',
            ),
          )}
        `,
      )}`,
  }))
}
