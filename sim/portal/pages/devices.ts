import { ServiceError } from '../../errors.ts'
import { html, type Html } from '../html.ts'
import { enabled, instant, thumbprint } from '../marks.ts'
import type { Pages, PortalParts } from '../pages.ts'
import { facts, table } from '../table.ts'
import { chart } from '../timeline/chart.ts'
import type { DeviceHistory } from '../timeline/device-history.ts'
import { lastWords, log } from '../timeline/log.ts'
import { hubName } from '../words.ts'
import { connection, deviceTable, hubDevices, proof } from './device-table.ts'

/** `/devices`: those of all hubs, and a page for each with its timeline. */
export function addDevicePages(pages: Pages, { cloud, histories }: PortalParts): void {
  pages.show('/devices', () => ({
    title: 'Devices',
    section: 'devices',
    body: ({ live }) => html`${live('devices', deviceTable(cloud, histories))}`,
  }))

  pages.show('/devices/:id', (context) => {
    const deviceId = context.req.param('id') ?? ''
    const records = hubDevices(cloud).filter(({ record }) => record.deviceId === deviceId)
    const history = histories.of(deviceId)
    if (records.length === 0 && history.entries.length === 0) {
      throw new ServiceError(404, 404001, `There is no device "${deviceId}".`)
    }
    return {
      title: deviceId,
      section: 'devices',
      above: [{ path: '/devices', name: 'Devices' }],
      body: ({ live }) => html`
        <div class="unseen" role="status">${live('said', lastWords(history))}</div>
        ${live(
          'records',
          records.length === 0
            ? html`<p class="none">No hub has this device at present.</p>`
            : records.map(({ hub, record }) =>
                facts([
                  ['Hub', hubName(hub)],
                  ['Connection', connection(record)],
                  ['Status', enabled(record.status)],
                  ['Primary thumbprint', proof(record.authentication)],
                  [
                    'Secondary thumbprint',
                    thumbprint(record.authentication.x509Thumbprint.secondaryThumbprint),
                  ],
                  ['Messages', history.messages],
                ]),
              ),
        )}
        <h2>Timeline</h2>
        ${live('chart', chart(history, histories.now))}
        <h3>Generations</h3>
        ${live('generations', generations(history))}
        <h3>What has happened</h3>
        ${live('log', log(history))}
      `,
    }
  })
}

function generations(history: DeviceHistory): Html {
  const current = history.spans.at(-1)
  return table(
    'Generations',
    [
      ['Generation', ({ number }) => number],
      ['Thumbprint', (one) => thumbprint(one.thumbprint)],
      ['First seen', ({ seenAt }) => instant(seenAt)],
      [
        'Connected with',
        (one) =>
          current?.thumbprint === one.thumbprint && current.until === undefined
            ? 'now'
            : history.spans.some((span) => span.thumbprint === one.thumbprint)
              ? 'before'
              : 'never',
      ],
    ],
    history.generations,
    'The device has not shown a certificate since the portal was started.',
  )
}
