import type { Context } from 'hono'
import type { SimulatedCloud } from '../../cloud.ts'
import { ServiceError } from '../../errors.ts'
import { readMethodCall } from '../../hub/service/method-body.ts'
import { choice, hidden, submit, textArea, textField } from '../fields.ts'
import type { Form } from '../form.ts'
import { html, type Fragment, type Html } from '../html.ts'
import { enabled, instant, thumbprint } from '../marks.ts'
import type { Page, PageTools } from '../page.ts'
import type { Outcome, Pages, PortalParts } from '../pages.ts'
import { facts, table } from '../table.ts'
import { chart, legend } from '../timeline/chart.ts'
import type { DeviceHistory } from '../timeline/device-history.ts'
import { lastWords, log } from '../timeline/log.ts'
import { hubName } from '../words.ts'
import { connection, devicePath, hubDevices, proof, type HubDevice } from './device-table.ts'

/** `/devices/ID`: a device on its hub, its timeline, and what can be done to it. */
export function addDevicePage(pages: Pages, parts: PortalParts): void {
  const { cloud } = parts
  const page = (context: Context): Page => devicePage(parts, idIn(context))
  pages.show('/devices/:id', page)
  pages.act('/devices/:id/methods', {
    page,
    run: async (form, context) => callMethod(cloud, idIn(context), form),
  })
  pages.act('/devices/:id/status', {
    page,
    run: (form, context) => {
      const status = form.text('status') === 'enabled' ? 'enabled' : 'disabled'
      cloud.hub(form.text('hub')).registry.update(idIn(context), { status }, form.text('etag'))
      return { to: devicePath(idIn(context)), done: 'saved' }
    },
  })
  pages.act('/devices/:id/delete', {
    page,
    run: (form, context) => {
      cloud.hub(form.text('hub')).registry.delete(idIn(context), form.text('etag'))
      return { to: '/devices', done: 'deleted' }
    },
  })
}

function devicePage({ cloud, histories }: PortalParts, deviceId: string): Page {
  const devices = hubDevices(cloud).filter(({ record }) => record.deviceId === deviceId)
  const history = histories.of(deviceId)
  if (devices.length === 0 && history.entries.length === 0) {
    throw new ServiceError(404, 404001, `There is no device "${deviceId}".`)
  }
  return {
    title: deviceId,
    section: 'devices',
    path: devicePath(deviceId),
    above: [{ path: '/devices', name: 'Devices' }],
    body: (tools) => html`
      <div class="unseen" role="status">${tools.live('said', lastWords(history))}</div>
      ${tools.live('records', records(tools, devices, history))}
      <h2>Timeline</h2>
      ${tools.live('chart', chart(history, histories.now))} ${legend}
      <h2>Direct method</h2>
      ${methodForm(tools, cloud, devices, deviceId)}
      <h2>Generations</h2>
      ${tools.live('generations', generations(history))}
      <h2>What has happened</h2>
      ${tools.live('log', log(history))}
    `,
  }
}

function records(tools: PageTools, devices: readonly HubDevice[], history: DeviceHistory): Fragment {
  if (devices.length === 0) return html`<p class="none">No hub has this device at present.</p>`
  return devices.map(({ hub, record }) => {
    const { deviceId, etag, status, authentication } = record
    const path = devicePath(deviceId)
    const other = status === 'enabled' ? 'disabled' : 'enabled'
    const known = html`${hidden('hub', hub)} ${hidden('etag', etag)} ${hidden('status', other)}`
    return html`
      ${facts([
        ['Hub', hubName(hub)],
        ['Connection', connection(record)],
        ['Status', enabled(status)],
        ['Primary thumbprint', proof(authentication)],
        ['Secondary thumbprint', thumbprint(authentication.x509Thumbprint.secondaryThumbprint)],
        ['Messages', history.messages],
      ])}
      <div class="actions">
        ${tools.form(
          `${path}/status`,
          html`${known}
          ${submit(status === 'enabled' ? 'Disable at the hub' : 'Enable at the hub', 'plain', `status-${hub}`)}`,
        )}
        ${tools.form(`${path}/delete`, html`${known} ${submit('Delete from the hub', 'danger', `delete-${hub}`)}`)}
      </div>
    `
  })
}

/** The methods of a leafkeeper agent, and of any other device whatever it has. */
const knownMethods = [
  'reprovision',
  'rollCertificate',
  'getCertificateStatus',
  'createCertificateRequest',
  'installCertificate',
]

function methodForm(
  { form, written }: PageTools,
  { hubs }: SimulatedCloud,
  devices: readonly HubDevice[],
  deviceId: string,
): Html {
  const hub = devices.find(({ record }) => record.connectionState === 'Connected')?.hub ?? devices[0]?.hub
  return form(
    `${devicePath(deviceId)}/methods`,
    html`
      <div class="row">
        ${choice({
          name: 'hub',
          label: 'Hub',
          value: written('hub', hub ?? ''),
          options: hubs.map(({ hostName }) => [hostName, hubName(hostName)] as const),
        })}
        ${textField({
          name: 'method',
          label: 'Method name',
          value: written('method', 'reprovision'),
          required: true,
          suggestions: knownMethods,
        })}
        ${textField({
          name: 'connect-timeout',
          label: 'Wait for its connection, seconds',
          value: written('connect-timeout', '0'),
          type: 'number',
        })}
      </div>
      ${textArea({ name: 'payload', label: 'Payload, JSON', value: written('payload', '') })}
      ${submit('Call method')}
    `,
  )
}

async function callMethod(cloud: SimulatedCloud, deviceId: string, form: Form): Promise<Outcome> {
  const methodName = form.text('method')
  const payload = form.json('payload')
  const call = readMethodCall({
    methodName,
    ...(payload === undefined ? {} : { payload }),
    connectTimeoutInSeconds: form.number('connect-timeout') ?? 0,
  })
  const answer = await cloud.hub(form.text('hub')).invokeMethod(deviceId, call)
  const tone = answer.status >= 200 && answer.status < 300 ? 'good' : 'bad'
  const detail = answer.payload === null ? {} : { detail: JSON.stringify(answer.payload, null, 2) }
  return { said: { tone, text: `${methodName} was answered with ${answer.status}.`, ...detail } }
}

function generations(history: DeviceHistory): Html {
  const current = history.spans.at(-1)
  const connectedWith = (thumbprintOf: string): string => {
    if (current?.thumbprint === thumbprintOf && current.until === undefined) return 'now'
    return history.spans.some((span) => span.thumbprint === thumbprintOf) ? 'before' : 'never'
  }
  return table(
    'Generations',
    [
      ['Generation', ({ number }) => number],
      ['Thumbprint', (one) => thumbprint(one.thumbprint)],
      ['First seen', ({ seenAt }) => instant(seenAt)],
      ['Connected with', (one) => connectedWith(one.thumbprint)],
    ],
    history.generations,
    'The device has not shown a certificate since the portal was started.',
  )
}

function idIn(context: Context): string {
  return context.req.param('id') ?? ''
}
