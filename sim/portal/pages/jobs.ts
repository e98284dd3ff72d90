import type { SimulatedCloud } from '../../cloud.ts'
import type { Job } from '../../hub/jobs/job.ts'
import { html, type Html } from '../html.ts'
import { instant, state } from '../marks.ts'
import type { Pages, PortalParts } from '../pages.ts'
import { table } from '../table.ts'
import { hubName } from '../words.ts'

/** `/jobs`: the same work on many devices of a hub. */
export function addJobPages(pages: Pages, { cloud }: PortalParts): void {
  pages.show('/jobs', () => ({
    title: 'Jobs',
    section: 'jobs',
    body: ({ live }) => html`${live('jobs', jobTable(cloud))}`,
  }))
}

function jobTable({ hubs }: SimulatedCloud): Html {
  const rows = hubs.flatMap(({ hostName, jobs }) =>
    jobs.list().map((job) => ({ hub: hostName, job, devices: jobs.results(job.jobId) })),
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
      ['Status', ({ job }) => state(job.status, tone(job))],
      [
        'Devices',
        ({ devices }) => {
          const done = devices.filter(({ status }) => status === 'completed').length
          const failed = devices.filter(({ status }) => status === 'failed').length
          return `${done} of ${devices.length} done${failed === 0 ? '' : `, ${failed} failed`}`
        },
      ],
    ],
    rows.reverse(),
    'No hub has a job.',
  )
}

function tone({ status }: Job): 'good' | 'bad' | 'plain' {
  return status === 'completed' ? 'good' : status === 'failed' ? 'bad' : 'plain'
}
