import type { SimulatedCloud } from '../../cloud.ts'
import { isOver, type Job } from '../../hub/jobs/job.ts'
import { readJob } from '../../hub/jobs/read-job.ts'
import { choice, radios, submit, textArea, textField } from '../fields.ts'
import type { Form } from '../form.ts'
import { html, type Fragment, type Html } from '../html.ts'
import { instant, state } from '../marks.ts'
import type { Page, PageTools } from '../page.ts'
import type { Outcome, Pages, PortalParts } from '../pages.ts'
import { table } from '../table.ts'
import { hubName } from '../words.ts'

/** `/jobs`: the same work on many devices of a hub. */
export function addJobPages(pages: Pages, { cloud }: PortalParts): void {
  const page = (): Page => jobsPage(cloud)
  pages.show('/jobs', page)
  pages.act('/jobs', { page, run: (form) => schedule(cloud, form) })
  pages.act('/jobs/:hub/:id/cancel', {
    page,
    run: (_form, context) => {
      cloud.hub(context.req.param('hub') ?? '').jobs.cancel(context.req.param('id') ?? '')
      return { to: '/jobs', done: 'cancelled' }
    },
  })
}

function jobsPage(cloud: SimulatedCloud): Page {
  return {
    title: 'Jobs',
    section: 'jobs',
    path: '/jobs',
    body: (tools) => html`
      ${tools.live('jobs', jobTable(tools, cloud))}
      <h2>Schedule a job</h2>
      ${jobForm(tools, cloud)}
    `,
  }
}

function jobForm({ form, written }: PageTools, { hubs }: SimulatedCloud): Html {
  const count = hubs.reduce((sum, { jobs }) => sum + jobs.list().length, 0)
  return form(
    '/jobs',
    html`
      <div class="row">
        ${choice({
          name: 'hub',
          label: 'Hub',
          value: written('hub', ''),
          options: hubs.map(({ hostName }) => [hostName, hubName(hostName)] as const),
        })}
        ${textField({
          name: 'job',
          label: 'Job id',
          value: written('job', `job-${count + 1}`),
          required: true,
        })}
      </div>
      ${textField({
        name: 'condition',
        label: 'Query condition',
        hint: "For example deviceId IN ['gateway-7'] or tags.site = 'north'. Left empty: all devices of the hub.",
        value: written('condition', ''),
      })}
      ${radios('Work', 'work', written('work', 'scheduleDeviceMethod'), [
        ['scheduleDeviceMethod', 'Direct method'],
        ['scheduleUpdateTwin', 'Twin update'],
      ])}
      <div class="when-method">
        ${textField({ name: 'method', label: 'Method name', value: written('method', 'reprovision') })}
        ${textArea({ name: 'payload', label: 'Payload, JSON', value: written('payload', '') })}
      </div>
      <div class="when-twin">
        ${textArea({
          name: 'twin',
          label: 'Twin, JSON',
          value: written('twin', '{ "tags": { "site": "north" } }'),
          hint: 'With tags, properties.desired or both.',
        })}
      </div>
      <div class="row">
        ${textField({
          name: 'start',
          label: 'Start time',
          hint: 'Left empty: now.',
          value: written('start', ''),
          type: 'datetime-local',
        })}
        ${textField({
          name: 'seconds',
          label: 'Maximum execution time, seconds',
          value: written('seconds', '60'),
          type: 'number',
          required: true,
        })}
      </div>
      ${submit('Schedule')}
    `,
  )
}

function schedule(cloud: SimulatedCloud, form: Form): Outcome {
  const hub = cloud.hub(form.text('hub'))
  const start = form.text('start')
  const jobId = form.text('job')
  const payload = form.json('payload')
  const work =
    form.text('work') === 'scheduleUpdateTwin'
      ? { type: 'scheduleUpdateTwin', updateTwin: form.json('twin') }
      : {
          type: 'scheduleDeviceMethod',
          cloudToDeviceMethod: {
            methodName: form.text('method'),
            ...(payload === undefined ? {} : { payload }),
          },
        }
  const body = {
    ...work,
    queryCondition: form.text('condition'),
    // The field has no time zone: it is the one of this machine, as everywhere on these pages.
    startTime: start === '' || Number.isNaN(Date.parse(start)) ? start : new Date(start).toISOString(),
    maxExecutionTimeInSeconds: form.number('seconds'),
  }
  hub.jobs.create(readJob(jobId, body, hub.now()))
  return { to: '/jobs', done: 'scheduled' }
}

interface JobRow {
  readonly hub: string
  readonly job: Job
  readonly done: number
  readonly failed: number
  readonly all: number
}

function jobTable({ form }: PageTools, { hubs }: SimulatedCloud): Html {
  const rows = hubs.flatMap(({ hostName, jobs }) =>
    jobs.list().map((job): JobRow => {
      const devices = jobs.results(job.jobId)
      const count = (status: string): number => devices.filter((one) => one.status === status).length
      return { hub: hostName, job, done: count('completed'), failed: count('failed'), all: devices.length }
    }),
  )
  return table(
    'Jobs',
    [
      ['Job', ({ job }) => job.jobId],
      ['Hub', ({ hub }) => hubName(hub)],
      [
        'Work',
        ({ job: { work } }) => (work.type === 'scheduleUpdateTwin' ? 'twin update' : work.call.methodName),
      ],
      [
        'Condition',
        ({ job }) => (job.queryCondition === '' ? 'all devices' : html`<code>${job.queryCondition}</code>`),
      ],
      ['Start', ({ job }) => instant(job.startAt)],
      ['Status', ({ job }) => status(job)],
      [
        'Devices',
        ({ done, failed, all }) => `${done} of ${all} done${failed === 0 ? '' : `, ${failed} failed`}`,
      ],
      [
        'Action',
        ({ hub, job: { jobId, status: present } }) =>
          !isOver(present) &&
          form(
            `/jobs/${hub}/${encodeURIComponent(jobId)}/cancel`,
            html`<button class="danger" id="cancel-${jobId}" aria-label="Cancel ${jobId}">Cancel</button>`,
          ),
      ],
    ],
    rows.reverse(),
    'No hub has a job.',
  )
}

function status({ status: present, failureReason }: Job): Fragment {
  const tone = present === 'completed' ? 'good' : present === 'failed' ? 'bad' : 'plain'
  return html`${state(present, tone)}
  ${failureReason !== null && html`<span class="detail">${failureReason}</span>`}`
}
