// Tells the app of each new manifest of a cost export at once, by a message in its queue.
param topicName string
param container string
@description('The resource id of the storage account that has the queue.')
param queueAccountId string
param queueName string

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topicName
}

resource subscription 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: 'budget-warden'
  properties: {
    eventDeliverySchema: 'EventGridSchema'
    deliveryWithResourceIdentity: {
      identity: { type: 'SystemAssigned' }
      destination: {
        endpointType: 'StorageQueue'
        properties: { resourceId: queueAccountId, queueName: queueName }
      }
    }
    filter: {
      includedEventTypes: ['Microsoft.Storage.BlobCreated']
      subjectBeginsWith: '/blobServices/default/containers/${container}/'
      // manifest.json, _manifest.json, and AWS's NAME-Manifest.json.
      subjectEndsWith: 'manifest.json'
      isSubjectCaseSensitive: false
    }
  }
}
