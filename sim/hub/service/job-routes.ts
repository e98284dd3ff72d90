import { ServiceError } from '../../errors.ts'
import { readJsonObject } from '../../http/request-body.ts'
import type { ServiceApp } from '../../http/service-app.ts'
import type { SimulatedHub } from '../hub.ts'
import type { Job } from '../jobs/job.ts'
import { readJob } from '../jobs/read-job.ts'
import type { JsonObject } from '../json.ts'
import { notHere } from './device-routes.ts'
import type { Permit } from './permit.ts'
import { jobJson } from './job-json.ts'
import { page, refusing } from './query-routes.ts'

const statuses = ['queued', 'scheduled', 'running', 'completed', 'failed', 'cancelled', 'enqueued', 'unknown']
const types = ['scheduleDeviceMethod', 'scheduleUpdateTwin']

/** `/jobs/v2`: the same work on many devices. */
export function addJobRoutes(app: ServiceApp, hub: SimulatedHub, permit: Permit): void {
  const { jobs } = hub
  const shown = (job: Job): JsonObject => jobJson(job, jobs.results(job.jobId))

  app.get('/jobs/v2/query', permit('ServiceConnect'), (context) => {
    const status = oneOf('jobStatus', context.req.query('jobStatus'), statuses)
    const type = oneOf('jobType', context.req.query('jobType'), types)
    const rows = jobs
      .list()
      .filter((job) => status === undefined || job.status.toLowerCase() === status)
      .filter((job) => type === undefined || job.work.type.toLowerCase() === type)
      .map(shown)
    context.header('x-ms-item-type', 'JobResponse')
    return page(context, rows, `${status ?? ''} ${type ?? ''}`)
  })

  app.put('/jobs/v2/:id', permit('ServiceConnect'), async (context) => {
    const request = readJob(context.req.param('id'), await readJsonObject(context), hub.now())
    return context.json(shown(refusing(() => jobs.create(request))))
  })

  app.get('/jobs/v2/:id', permit('ServiceConnect'), (context) =>
    context.json(shown(jobs.get(context.req.param('id')))),
  )

  app.post('/jobs/v2/:id/cancel', permit('ServiceConnect'), (context) =>
    context.json(shown(jobs.cancel(context.req.param('id')))),
  )

  // Import and export of the registry, which need a storage account.
  app.all('/jobs/create', permit('RegistryRead', 'RegistryWrite'), () => {
    throw notHere('Import and export jobs')
  })
  app.all('/jobs/:id?', permit('RegistryRead', 'RegistryWrite'), () => {
    throw notHere('Import and export jobs')
  })
}

/** A word of a query string, in lower case. */
function oneOf(name: string, value: string | undefined, words: readonly string[]): string | undefined {
  if (value === undefined || value === '') return undefined
  const word = value.toLowerCase()
  if (words.some((known) => known.toLowerCase() === word)) return word
  throw new ServiceError(400, 400004, `${name}: expected one of ${words.join(', ')}.`)
}
