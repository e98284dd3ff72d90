import type { SimulatedCloud } from '../../cloud.ts'
import {
  cloudFaults,
  disturbances,
  faces,
  faultNames,
  settingOf,
  type FaultName,
  type FaultSettings,
} from '../../faults/names.ts'
import { ServiceError } from '../../errors.ts'
import { choice, textField } from '../fields.ts'
import type { Form } from '../form.ts'
import { html, type Fragment, type Html } from '../html.ts'
import { state } from '../marks.ts'
import type { Page, PageTools } from '../page.ts'
import type { Outcome, Pages, PortalParts } from '../pages.ts'
import { hubName } from '../words.ts'

/** `/faults`: what can go wrong, each with its switch. */
export function addFaultPages(pages: Pages, { cloud }: PortalParts): void {
  const page = (): Page => faultsPage(cloud)
  pages.show('/faults', page)
  pages.act('/faults/:name', {
    page,
    run: (form, context) => {
      const name = faultNames.find((one) => one === context.req.param('name'))
      if (name === undefined) throw new ServiceError(404, 404000, 'There is no such fault.')
      return flip(cloud, name, form)
    },
  })
}

const headings: Readonly<Record<(typeof faces)[number], string>> = {
  dps: 'DPS, for devices',
  'dps-service': 'DPS, service API',
  hub: 'Hubs, for devices',
  'hub-service': 'Hubs, service API',
  management: 'Management API',
  est: 'EST',
}

function faultsPage(cloud: SimulatedCloud): Page {
  return {
    title: 'Faults',
    section: 'faults',
    path: '/faults',
    body: (tools) => html`
      <p>
        A fault lasts until it is switched off, or for as many times as are given. Probability lets it come by
        chance: 0.5 is every other time.
      </p>
      ${group(tools, cloud, 'The cloud as a whole', cloudFaults)}
      ${faces.map((face) =>
        group(
          tools,
          cloud,
          headings[face],
          disturbances.map((disturbance) => `${face}-${disturbance}` as const),
        ),
      )}
    `,
  }
}

function group(tools: PageTools, cloud: SimulatedCloud, heading: string, names: readonly FaultName[]): Html {
  return html`<h2>${heading}</h2>
    <ul class="faults">
      ${names.map((name) => html`<li id="${name}">${fault(tools, cloud, name)}</li>`)}
    </ul>`
}

/** The switch is written again when the fault has used itself up; the fields beside it are not. */
function fault({ live, form }: PageTools, cloud: SimulatedCloud, name: FaultName): Html {
  const settings = cloud.faults.list().find((one) => one.name === name)?.settings
  const isOn = settings !== undefined
  const formId = `form-${name}`
  return html`
    ${form(
      `/faults/${name}`,
      html`<h3>${name}</h3>
        <div class="row" role="group" aria-label="Settings of ${name}">
          ${mainField(cloud, name, settings ?? {})}
          ${textField({
            name: `${name}-times`,
            label: 'Times',
            value: String(settings?.times ?? ''),
            type: 'number',
          })}
          ${textField({
            name: `${name}-probability`,
            label: 'Probability',
            value: String(settings?.probability ?? ''),
            type: 'number',
          })}
        </div>`,
      formId,
    )}
    ${live(
      `switch-${name}`,
      html`${isOn ? state('on', 'bad') : state('off', 'plain')}
        ${isOn && html`<span>${inWords(settings)}</span>`}
        <button
          form="${formId}"
          id="switch-${name}"
          name="switch"
          value="${isOn ? 'off' : 'on'}"
          aria-label="Switch ${isOn ? 'off' : 'on'} ${name}"
          class="${isOn ? 'danger' : 'plain'}"
        >
          Switch ${isOn ? 'off' : 'on'}
        </button>`,
    )}
  `
}

/** What a fault cannot do without, or is mostly set by. */
function mainField(cloud: SimulatedCloud, name: FaultName, settings: FaultSettings): Fragment {
  const setting = settingOf(name)
  const field = { name: `${name}-value`, label: labels[setting ?? 'times'] }
  switch (setting) {
    case 'hub':
      return choice({
        ...field,
        value: settings.hub ?? '',
        options: cloud.hubs.map(({ hostName }) => [hostName, hubName(hostName)] as const),
      })
    case 'certificate':
      return choice({
        ...field,
        value: settings.certificate ?? '',
        options: cloud.dps.certificates.list().map((one) => [one.name, one.name] as const),
      })
    case 'ms':
    case 'status':
    case 'retryAfter':
      return textField({ ...field, value: String(settings[setting] ?? ''), type: 'number' })
    case 'times':
    case 'probability':
    case undefined:
      return undefined
  }
}

const labels: Readonly<Record<keyof FaultSettings, string>> = {
  ms: 'Milliseconds',
  status: 'Status',
  retryAfter: 'Retry after, s',
  times: 'Times',
  probability: 'Probability',
  hub: 'Hub',
  certificate: 'Certificate',
}

function flip({ faults }: SimulatedCloud, name: FaultName, form: Form): Outcome {
  const to = `/faults#${name}`
  if (form.text('switch') === 'off') {
    faults.clear(name)
    return { to, done: 'switched-off' }
  }
  faults.set(name, readSettings(name, form))
  return { to, done: 'switched-on' }
}

function readSettings(name: FaultName, form: Form): FaultSettings {
  const setting = settingOf(name)
  const field = `${name}-value`
  const isText = setting === 'hub' || setting === 'certificate'
  const value = isText ? form.text(field) || undefined : form.number(field)
  const [times, probability] = [form.number(`${name}-times`), form.number(`${name}-probability`)]
  return {
    ...(setting === undefined || value === undefined ? {} : { [setting]: value }),
    ...(times === undefined ? {} : { times }),
    ...(probability === undefined ? {} : { probability }),
  }
}

function inWords(settings: FaultSettings): string {
  return Object.entries(settings)
    .map(([name, value]) => `${labels[name as keyof FaultSettings]} ${String(value)}`)
    .join(', ')
}
