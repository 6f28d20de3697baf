// Told from outside, whether the app is there or not: hourly questions to Application Insights, and a workbook.
param insightsName string
param actionGroupName string
param location string
param tags object

// chapter: of docs/operations.md, which says what to do. window: how much of the past the query sees; of what Azure
// takes (5, 10, 15, 30, 45 minutes, 1 to 6 hours, 1 or 2 days), the least that the query needs.
var rules = [
  {
    chapter: 'no-complete-night'
    title: 'no complete night in 26 hours'
    severity: 1
    window: 'P2D'
    query: loadTextContent('../queries/no-complete-night.kql')
  }
  {
    chapter: 'dead-letters'
    title: 'messages have failed for good'
    severity: 2
    window: 'PT2H'
    query: loadTextContent('../queries/dead-letters.kql')
  }
  {
    chapter: 'deliveries-failing'
    title: 'mails are not taken'
    severity: 2
    window: 'PT2H'
    query: loadTextContent('../queries/deliveries-failing.kql')
  }
  {
    chapter: 'throttled'
    title: 'throttled for an hour'
    severity: 3
    window: 'PT2H'
    query: loadTextContent('../queries/throttled.kql')
  }
  {
    chapter: 'functions-failing'
    title: 'a function fails'
    severity: 2
    window: 'PT2H'
    query: loadTextContent('../queries/functions-failing.kql')
  }
  {
    chapter: 'locking-fails'
    title: 'a lock ends in an error'
    severity: 1
    window: 'PT2H'
    query: loadTextContent('../queries/locking-fails.kql')
  }
]

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource operators 'Microsoft.Insights/actionGroups@2023-01-01' existing = {
  name: actionGroupName
}

resource alerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for rule in rules: {
    name: 'warden-${rule.chapter}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: 'Budget Warden: ${rule.title}'
      description: 'What it means and what to do: docs/operations.md#${rule.chapter}'
      severity: rule.severity
      enabled: true
      scopes: [insights.id]
      evaluationFrequency: 'PT1H'
      windowSize: rule.window
      criteria: {
        allOf: [
          {
            query: rule.query
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: 0
            failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
          }
        ]
      }
      // It ends by itself, so that it can begin again.
      autoMitigate: true
      // The tables are there only once something has been written.
      skipQueryValidation: true
      actions: { actionGroups: [operators.id] }
    }
  }
]

var charts = [
  {
    title: 'The last complete night'
    query: loadTextContent('../queries/workbook/age.kql')
    view: 'tiles'
    width: '20'
  }
  { title: 'What was done', query: loadTextContent('../queries/workbook/counts.kql'), view: 'tiles', width: '80' }
  { title: 'Mails', query: loadTextContent('../queries/workbook/deliveries.kql'), view: 'barchart', width: '50' }
  {
    title: 'Waits that Azure asked for'
    query: loadTextContent('../queries/workbook/waits.kql')
    view: 'timechart'
    width: '50'
  }
  { title: 'Functions', query: loadTextContent('../queries/workbook/functions.kql'), view: 'table', width: '100' }
  { title: 'Exceptions', query: loadTextContent('../queries/workbook/exceptions.kql'), view: 'table', width: '100' }
]
var aDay = 86400000
var night = {
  version: 'Notebook/1.0'
  items: concat(
    [
      {
        type: 1
        name: 'about'
        content: { json: '# A night at a glance\nBudget Warden; what to do where something is red: docs/operations.md' }
      }
      {
        type: 9
        name: 'time'
        content: {
          version: 'KqlParameterItem/1.0'
          style: 'pills'
          queryType: 0
          parameters: [
            {
              id: guid(insights.id, 'time')
              version: 'KqlParameterItem/1.0'
              name: 'TimeRange'
              type: 4
              value: { durationMs: aDay }
              typeSettings: {
                selectableValues: [{ durationMs: aDay }, { durationMs: 7 * aDay }, { durationMs: 30 * aDay }]
              }
            }
          ]
        }
      }
    ],
    map(charts, (chart, place) => {
      type: 3
      name: 'chart-${place}'
      customWidth: chart.width
      content: {
        version: 'KqlItem/1.0'
        title: chart.title
        query: chart.query
        size: 1
        queryType: 0
        resourceType: 'microsoft.insights/components'
        crossComponentResources: [insights.id]
        timeContextFromParameter: 'TimeRange'
        visualization: chart.view
        tileSettings: {
          titleContent: { columnMatch: 'what', formatter: 1 }
          leftContent: { columnMatch: 'value', formatter: 12 }
          showBorder: true
        }
      }
    })
  )
}

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(insights.id, 'a night at a glance')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Budget Warden: a night at a glance'
    category: 'workbook'
    // The gallery of workbooks compares it letter by letter.
    sourceId: toLower(insights.id)
    version: '1.0'
    serializedData: string(night)
  }
}
